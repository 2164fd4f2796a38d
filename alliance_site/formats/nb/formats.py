"""How days and times are written, where Django's own words for Norwegian differ or are missing."""

DATETIME_FORMAT = "j. F Y, H:i"
MONTH_DAY_TIME_FORMAT = "j. F, H:i"
WEEKDAY_TIME_FORMAT = "l j. F, H:i"
