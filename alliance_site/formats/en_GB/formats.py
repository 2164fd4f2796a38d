"""How days and times are written, where Django's own words for British English differ or are missing."""

DATE_FORMAT = "j F Y"
TIME_FORMAT = "H:i"
DATETIME_FORMAT = "j F Y, H:i"
SHORT_DATETIME_FORMAT = "d/m/Y H:i"
MONTH_DAY_TIME_FORMAT = "j F, H:i"
WEEKDAY_TIME_FORMAT = "l j F, H:i"
