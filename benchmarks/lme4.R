# How long lme4 takes for the model of growth.py:
#
#   Rscript lme4.R ROWS N what=RUNS [what=RUNS ...]     what: lmer, satterthwaite, kenward-roger
#
# ROWS holds five columns of N doubles one after the other: therapist, patient, time, x, y. Prints one JSON
# object: CPU seconds of each run by system.time, the log-likelihood, versions and BLAS; or `skipped`.
needed <- c("lme4", "lmerTest", "pbkrtest")
missing <- needed[!vapply(needed, requireNamespace, TRUE, quietly = TRUE)]
if (length(missing)) {
  cat(sprintf('{"skipped": "R has no %s"}\n', paste(missing, collapse = ", ")))
  quit()
}

arguments <- commandArgs(trailingOnly = TRUE)
n <- as.integer(arguments[2])
names <- c("therapist", "patient", "time", "x", "y")
rows <- as.data.frame(matrix(readBin(arguments[1], "double", n * length(names)), n, dimnames = list(NULL, names)))
rows$therapist <- factor(rows$therapist)
rows$patient <- factor(rows$patient)
model <- y ~ time * x + (1 + time | therapist) + (1 + time | therapist:patient)

# `lmer` estimates only, as a user gets it by default; the others add tests of the fixed effects.
work <- list(
  "lmer" = function() lme4::lmer(model, rows),
  "satterthwaite" = function() {
    fit <- lmerTest::lmer(model, rows)
    summary(fit, ddf = "Satterthwaite")
    fit
  },
  "kenward-roger" = function() {
    fit <- lmerTest::lmer(model, rows)
    summary(fit, ddf = "Kenward-Roger")
    fit
  }
)

entries <- vapply(strsplit(arguments[-(1:2)], "="), function(wanted) {
  seconds <- numeric(as.integer(wanted[2]))
  for (run in seq_along(seconds)) {
    gc()
    taken <- system.time(fit <- suppressWarnings(suppressMessages(work[[wanted[1]]]())))
    seconds[run] <- taken[["user.self"]] + taken[["sys.self"]]
  }
  sprintf(
    '"%s": {"seconds": [%s], "loglik": %.17g}',
    wanted[1], paste(sprintf("%.6g", seconds), collapse = ", "), as.numeric(logLik(fit))
  )
}, "")
versions <- vapply(needed, function(name) paste(name, packageVersion(name)), "")
cat(sprintf(
  '{%s, "versions": "%s, %s", "blas": "%s"}\n', paste(entries, collapse = ", "),
  R.version.string, paste(versions, collapse = ", "), basename(sessionInfo()$BLAS)
))
