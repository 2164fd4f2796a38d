# Makes the reference numbers anew from the data beside this file, and compares them with the stored ones.
#
#   Rscript make_reference.R sleepstudy pixel            prints the largest disagreement per kind of number
#   Rscript make_reference.R --out DIR sleepstudy        and writes DIR/sleepstudy.json
#   Rscript make_reference.R joint_j1                    compares only: nlme's joint fit, lme4's separate ones
#
# Needs R with lme4, lmerTest, pbkrtest, nlme, numDeriv and jsonlite. Which models a data set has, and which
# of them have Kenward-Roger rows, BLUPs and profile intervals, is read from the stored JSON.
suppressPackageStartupMessages(library(lme4))

here <- dirname(sub("^--file=", "", grep("^--file=", commandArgs(), value = TRUE)))
stored_json <- function(name) {
  path <- file.path(here, paste0(name, ".json"))
  jsonlite::read_json(path, simplifyVector = TRUE, simplifyDataFrame = FALSE)
}
plain <- function(name) gsub("(Intercept)", "Intercept", name, fixed = TRUE)
one_group <- function(name) sub("\\.\\d+$", "", name)
matrix_of <- function(m) unname(as.matrix(m))

# ---- one fit -----------------------------------------------------------------------------------------

# lmer's default settings stop early on flat or singular likelihoods: five starts, a tight bobyqa, and
# Newton steps on the elements of theta that are not on a bound.
best_theta <- function(formula, data, reml) {
  devfun <- lmer(formula, data, REML = reml, devFunOnly = TRUE)
  lower <- environment(devfun)$lower
  start <- as.numeric(environment(devfun)$pp$theta)
  starts <- list(start, start * 0.3, start * 2, ifelse(lower == 0, 0.1, 0), ifelse(lower == 0, 1, -0.1))
  tight <- list(rhobeg = 0.02, rhoend = 1e-9, maxfun = 1e5)
  ends <- lapply(starts, function(theta) {
    theta <- nloptwrap(theta, devfun, lower, rep(Inf, length(lower)), list(maxeval = 1e5))$par
    minqa::bobyqa(theta, devfun, lower, rep(Inf, length(lower)), tight)
  })
  theta <- ends[[which.min(vapply(ends, `[[`, 0, "fval"))]]$par
  free <- which(theta > lower + 1e-4)
  for (step in 1:4) {
    partial <- function(x) devfun(replace(theta, free, x))
    H <- numDeriv::hessian(partial, theta[free])
    if (min(eigen(H, TRUE)$values) < 1e-6) break
    tried <- replace(theta, free, theta[free] - solve(H, numDeriv::grad(partial, theta[free])))
    if (any(tried < lower) || devfun(tried) > devfun(theta)) break
    theta <- tried
  }
  theta
}

fit_at <- function(formula, data, reml, theta) {
  control <- lmerControl(optimizer = NULL, calc.derivs = FALSE)
  suppressWarnings(suppressMessages(
    lmerTest::lmer(formula, data, REML = reml, start = theta, control = control)
  ))
}

random_rows <- function(model) {
  rows <- list()
  parts <- VarCorr(model)
  for (entry in names(parts)) {
    group <- one_group(entry)
    row <- list(
      group = group, terms = I(plain(rownames(parts[[entry]]))),
      sd = I(as.numeric(attr(parts[[entry]], "stddev"))), cov = matrix_of(parts[[entry]])
    )
    same <- which(vapply(rows, function(r) r$group == group, TRUE))
    if (length(same)) { # the terms of (1 + x || g) are two entries of lme4, one here
      old <- rows[[same]]
      rows[[same]] <- list(
        group = group, terms = I(c(old$terms, row$terms)), sd = I(c(old$sd, row$sd)),
        cov = matrix_of(Matrix::bdiag(old$cov, row$cov))
      )
    } else {
      rows <- c(rows, list(row))
    }
  }
  rows
}

# Of the units that are stored; the order of labels is a matter of the locale.
blup_rows <- function(model, stored) {
  modes <- ranef(model, condVar = TRUE)
  lapply(stored, function(wanted) {
    of_group <- modes[[wanted$group]]
    at <- match(wanted$levels, rownames(of_group))
    row <- list(
      group = wanted$group, terms = I(plain(colnames(of_group))), levels = I(wanted$levels),
      blup = matrix_of(of_group[at, , drop = FALSE])
    )
    variance <- attr(of_group, "postVar")
    if (is.array(variance)) row$cond_var <- aperm(variance[, , at, drop = FALSE], c(3, 1, 2))
    row
  })
}

fixed_rows <- function(model, ddf) {
  table <- coef(summary(model, ddf = ddf))
  lapply(seq_len(nrow(table)), function(i) {
    list(
      term = plain(rownames(table)[i]), estimate = table[i, "Estimate"],
      se = table[i, "Std. Error"], df = table[i, "df"]
    )
  })
}

numbers_of <- function(model, wanted) {
  theta <- getME(model, "theta")
  names(theta) <- sub("^([^.]+)\\.\\d+\\.", "\\1.", plain(names(theta)))
  loglik <- logLik(model)
  numbers <- list(
    loglik = as.numeric(loglik), aic = AIC(loglik), bic = BIC(loglik), sigma = sigma(model),
    singular = isSingular(model), rows = nobs(model), units = as.list(ngrps(model)),
    fixed = fixed_rows(model, "Satterthwaite"), random = random_rows(model), theta = as.list(theta)
  )
  if (!is.null(wanted$kenward_roger)) {
    numbers$kenward_roger <- lapply(fixed_rows(model, "Kenward-Roger"), `[`, c("term", "se", "df"))
  }
  numbers$vcov_fixed <- matrix_of(vcov(model))
  if (!is.null(wanted$blup_first15)) numbers$blup_first15 <- blup_rows(model, wanted$blup_first15)
  numbers
}

profile_rows <- function(model) {
  bounds <- suppressMessages(suppressWarnings(confint(model, method = "profile", oldNames = FALSE)))
  lapply(seq_len(nrow(bounds)), function(i) {
    list(par = plain(rownames(bounds)[i]), lower = bounds[i, 1], upper = bounds[i, 2])
  })
}

# ---- data sets ---------------------------------------------------------------------------------------

make <- function(name) {
  data <- read.csv(file.path(here, paste0(name, ".csv.gz")))
  stored <- stored_json(name)
  lapply(stored, function(wanted) {
    formula <- as.formula(wanted$formula)
    made <- list(formula = wanted$formula, fits = list())
    for (method in names(wanted$fits)) {
      theta <- best_theta(formula, data, method == "reml")
      model <- fit_at(formula, data, method == "reml", theta)
      made$fits[[method]] <- numbers_of(model, wanted$fits[[method]])
    }
    if (!is.null(wanted$profile_ci_95_ml)) {
      made$profile_ci_95_ml <- profile_rows(lme4::lmer(formula, data, REML = FALSE))
    }
    made
  })
}

# One rater's numbers have rater-specific names: raterP:time is P:time.
make_joint <- function() {
  data <- read.csv(file.path(here, "joint_j1.csv.gz"))
  data$rater <- factor(data$rater)
  stored <- stored_json("joint_j1")
  block <- nlme::pdSymm(~ 0 + rater + rater:time)
  made <- list(fits = list(), separate = list(), cross_0 = list())
  for (method in c("reml", "ml")) {
    joint <- nlme::lme(
      y ~ 0 + rater + rater:time + rater:(anxiety + negative_reaction + flow) +
        rater:time:(anxiety + negative_reaction + flow),
      data, random = list(therapist = block, patient = block),
      weights = nlme::varIdent(form = ~ 1 | rater),
      correlation = nlme::corCompSymm(form = ~ 1 | therapist/patient/session),
      method = toupper(method), control = nlme::lmeControl(maxIter = 200, msMaxIter = 200, msMaxEval = 2000)
    )
    beta <- nlme::fixef(joint)
    ratio <- coef(joint$modelStruct$varStruct, unconstrained = FALSE, allCoef = TRUE)
    made$fits[[method]] <- list(
      loglik = as.numeric(logLik(joint)),
      residual = list(
        sd_P = joint$sigma * ratio[["P"]], sd_T = joint$sigma * ratio[["T"]],
        rho = as.numeric(coef(joint$modelStruct$corStruct, unconstrained = FALSE))
      ),
      fixed = lapply(names(beta), function(term) {
        list(term = sub("rater", "", term), estimate = beta[[term]], se = sqrt(vcov(joint)[term, term]))
      })
    )
    formula <- as.formula(stored$separate$formula)
    for (rater in c("P", "T")) {
      rows <- data[data$rater == rater, ]
      model <- fit_at(formula, rows, method == "reml", best_theta(formula, rows, method == "reml"))
      made$separate[[rater]][[method]] <- list(loglik = as.numeric(logLik(model)), sigma = sigma(model))
    }
    made$cross_0[[method]] <- made$separate$P[[method]]$loglik + made$separate$T[[method]]$loglik
  }
  made
}

# ---- comparison --------------------------------------------------------------------------------------

# Numbers of `made` beside those of `stored` at the same place, by the names on the way. Vectors and
# matrices count once, relative to their largest element.
pairs_of <- function(made, stored, path = "") {
  if (is.null(stored)) return(NULL)
  if (endsWith(path, " theta")) { # zeros on the boundary: relative to the largest element as well
    made <- unlist(made)
    stored <- unlist(stored)[names(made)]
  }
  if (is.numeric(made) && is.numeric(stored)) {
    scale <- max(abs(unlist(stored)), 1e-12)
    error <- max(abs(as.numeric(made) - as.numeric(stored))) / scale
    return(data.frame(kind = path, error = error))
  }
  if (!is.list(made)) {
    if (!identical(as.vector(unlist(made)), as.vector(unlist(stored)))) {
      stop(path, " is not the stored one", call. = FALSE)
    }
    return(NULL)
  }
  keys <- if (is.null(names(made))) seq_along(made) else names(made)
  do.call(rbind, lapply(keys, function(key) {
    inner <- if (is.character(key) && !(key %in% c("reml", "ml"))) paste(path, key) else path
    other <- if (is.list(stored)) stored[[key]] else stored
    pairs_of(made[[key]], other, inner)
  }))
}

report <- function(name, made, stored) {
  pairs <- pairs_of(made, stored)
  pairs$kind <- trimws(pairs$kind)
  worst <- aggregate(error ~ kind, pairs, max)
  cat(sprintf("%s: %d comparisons, largest relative disagreement by kind\n", name, nrow(pairs)))
  cat(sprintf("  %-42s %.1e\n", worst$kind, worst$error), sep = "")
}

tests_of <- function(made, stored_tests) {
  lapply(stored_tests, function(test) {
    loglik <- function(model) made[[model]]$fits[[test$method]]$loglik
    test$chisq <- 2 * (loglik(test$full) - loglik(test$reduced))
    test$p_chisq <- pchisq(test$chisq, test$df, lower.tail = FALSE)
    if (!is.null(test$mixture_of_df)) {
      p <- ifelse(test$mixture_of_df == 0, 0, pchisq(test$chisq, test$mixture_of_df, lower.tail = FALSE))
      test$p_mixture <- mean(p)
    }
    test
  })
}

arguments <- commandArgs(trailingOnly = TRUE)
out <- if ("--out" %in% arguments) arguments[which(arguments == "--out") + 1]
for (name in setdiff(arguments, c("--out", out))) {
  if (name == "joint_j1") {
    stored <- stored_json(name)
    stored$cross_0 <- lapply(stored$fits, function(fit) fit$restricted$cross_0$loglik)
    made <- make_joint()
    report(name, made, stored)
  } else {
    made <- make(name)
    stored <- stored_json(name)
    for (model in names(made)) report(paste(name, model), made[[model]], stored[[model]])
    tests <- stored_json("likelihood_ratio_tests")[[name]]
    if (!is.null(tests)) report(paste(name, "likelihood-ratio tests"), tests_of(made, tests), tests)
  }
  if (!is.null(out) && name != "joint_j1") {
    path <- file.path(out, paste0(name, ".json"))
    jsonlite::write_json(made, path, auto_unbox = TRUE, digits = I(15), pretty = TRUE)
  }
}
