# Computes every number of this bundle again and says PASS or FAIL beside it: Rscript reproduce.R
#
# Needs R 4 with the packages jsonlite and lme4; no network, nothing of the program that made the bundle.
#
# Growth models are fitted by lme4. For every model, also the joint ones that lme4 cannot state, the (restricted)
# likelihood is written out here as well, with the covariance of the ratings of therapist k
#
#     V_k = Z_k T_therapist Z_k' + (the same for each therapy, with T_therapy) + residuals
#
# and maximised over Cholesky factors of the T and the residual variances by BFGS with its exact gradient, from
# a start that knows nothing of the published numbers and from one at them; the better end counts. Degrees of
# freedom are Kenward & Roger's (1997, Biometrics 53, 983-997) or Satterthwaite's (Giesbrecht & Burns 1985,
# Biometrics 41, 477-486). Matrices are plain and whole, therapist by therapist: slow with thousands of ratings
# a therapist, and easy to read.

suppressPackageStartupMessages({
  library(jsonlite)
  library(lme4)
})

here <- local({
  file <- grep("^--file=", commandArgs(FALSE), value = TRUE)
  if (length(file)) dirname(normalizePath(sub("^--file=", "", file[1]))) else "."
})

# ---- a model: rows, design, levels ------------------------------------------------------------------------

# Rows and columns of the free cells of a covariance, lower triangle by rows.
cells <- function(q, correlated) {
  if (!correlated) return(cbind(seq_len(q), seq_len(q)))
  do.call(rbind, lapply(seq_len(q), function(i) cbind(i, seq_len(i))))
}

# The values of a term: product of columns, of a rater's indicator, of a category's indicator.
column <- function(frame, term, joint) {
  values <- rep(1, nrow(frame))
  for (part in strsplit(term, ":", fixed = TRUE)[[1]]) {
    if (part %in% c("Intercept", "1")) next
    category <- regmatches(part, regexec("^(?:C\\()?(\\w+)\\)?\\[(?:T\\.)?(.*)\\]$", part, perl = TRUE))[[1]]
    values <- values * if (!is.null(joint) && part %in% frame[[joint$rater]]) {
      frame[[joint$rater]] == part
    } else if (length(category)) {
      frame[[category[2]]] == category[3]
    } else {
      as.numeric(frame[[part]])
    }
  }
  values
}

model_of <- function(stated) {
  frame <- read.csv(file.path(here, stated$data), check.names = FALSE, fileEncoding = "UTF-8-BOM",
                    colClasses = c(therapist = "character", therapy = "character"))
  frame <- frame[order(frame$therapist, frame$therapy, method = "radix"), ]
  joint <- stated$joint
  result <- stated$result
  m <- list(stated = stated, frame = frame, joint = joint, reml = stated$method == "reml")
  m$y <- as.numeric(frame[[stated$outcome]])
  m$terms <- vapply(result$fixed, function(row) row$term, "")
  m$X <- sapply(m$terms, function(term) column(frame, term, joint))
  m$levels <- lapply(result$random, function(row) {
    bar <- regmatches(stated$formula,
                      regexpr(paste0("\\([^()]*\\|\\s*", row$group, "\\)"), stated$formula))
    terms <- unlist(row$terms)
    list(group = row$group, terms = terms, Z = sapply(terms, function(term) column(frame, term, joint)),
         unit = do.call(paste, c(frame[strsplit(row$group, ":", fixed = TRUE)[[1]]], sep = "\t")),
         cells = cells(length(terms), !grepl("||", bar, fixed = TRUE)))
  })
  m$blocks <- split(seq_len(nrow(frame)), frame$therapist)
  if (!is.null(joint)) {
    m$raters <- names(result$residual$sd)
    m$second <- frame[[joint$rater]] == m$raters[2]
    m$pair <- paste(frame$therapist, frame$therapy, frame[[joint$session]], sep = "\t")
  }
  m$n <- c(list(rows = nrow(frame)), setNames(lapply(m$levels, function(l) length(unique(l$unit))),
                                              vapply(m$levels, function(l) l$group, "")))
  m$directions <- lapply(m$blocks, function(rows) directions_of(m, rows))
  m
}

# dV_k by each parameter: lower cells of every T, then the residual variances. V is linear in them.
directions_of <- function(m, rows) {
  found <- list()
  for (l in m$levels) {
    same <- outer(l$unit[rows], l$unit[rows], "==")
    z <- as.matrix(l$Z)[rows, , drop = FALSE]
    for (cell in seq_len(nrow(l$cells))) {
      i <- l$cells[cell, 1]; j <- l$cells[cell, 2]
      E <- outer(z[, i], z[, j]) * same
      found <- c(found, list(if (i == j) E else E + t(E)))
    }
  }
  if (is.null(m$joint)) return(c(found, list(diag(length(rows)))))
  second <- m$second[rows]
  cross <- outer(m$pair[rows], m$pair[rows], "==") & outer(second, second, "!=")
  c(found, list(diag(as.numeric(!second), length(rows)), cross * 1, diag(as.numeric(second), length(rows))))
}

# ---- likelihood -------------------------------------------------------------------------------------------
# theta: the lower triangles of the Cholesky factors, then the residuals (log SD, atanh of the correlation)

# The parameters of V, and their derivatives by theta (parameters x theta).
parameters <- function(m, theta) {
  values <- numeric(); slopes <- NULL; at <- 0
  for (l in m$levels) {
    q <- length(l$terms); own <- l$cells; k <- nrow(own)
    L <- matrix(0, q, q); L[own] <- theta[at + seq_len(k)]
    for (cell in seq_len(k)) {
      i <- own[cell, 1]; j <- own[cell, 2]
      slope <- numeric(length(theta))
      for (place in seq_len(k)) {
        a <- own[place, 1]; b <- own[place, 2]
        slope[at + place] <- (a == i) * L[j, b] + (a == j) * L[i, b]
      }
      values <- c(values, sum(L[i, ] * L[j, ])); slopes <- rbind(slopes, slope)
    }
    at <- at + k
  }
  row <- function(places, by) { out <- numeric(length(theta)); out[at + places] <- by; out }
  if (is.null(m$joint)) {
    s2 <- exp(2 * theta[at + 1])
    return(list(values = c(values, s2), slopes = rbind(slopes, row(1, 2 * s2))))
  }
  s1 <- exp(theta[at + 1]); s2 <- exp(theta[at + 2]); rho <- tanh(theta[at + 3])
  list(values = c(values, s1^2, rho * s1 * s2, s2^2),
       slopes = rbind(slopes, row(1, 2 * s1^2),
                      row(1:3, c(rho * s1 * s2, rho * s1 * s2, (1 - rho^2) * s1 * s2)),
                      row(2, 2 * s2^2)))
}

# The likelihood at values of the parameters of V; NULL where V is none.
at_values <- function(m, values) {
  p <- ncol(m$X)
  log_det <- 0; XVX <- matrix(0, p, p); XVy <- numeric(p); yVy <- 0; inverse <- vector("list", length(m$blocks))
  for (k in seq_along(m$blocks)) {
    rows <- m$blocks[[k]]
    V <- Reduce(`+`, Map(`*`, values, m$directions[[k]]))
    root <- tryCatch(chol(V), error = function(e) NULL)
    if (is.null(root)) return(NULL)
    inverse[[k]] <- chol2inv(root)
    X <- backsolve(root, m$X[rows, , drop = FALSE], transpose = TRUE)
    y <- backsolve(root, m$y[rows], transpose = TRUE)
    log_det <- log_det + 2 * sum(log(diag(root)))
    XVX <- XVX + crossprod(X); XVy <- XVy + crossprod(X, y); yVy <- yVy + sum(y^2)
  }
  Phi <- chol2inv(chol(XVX)); beta <- drop(Phi %*% XVy)
  deviance <- log_det + yVy - sum(beta * XVy) + length(m$y) * log(2 * pi)
  if (m$reml) deviance <- deviance + as.numeric(determinant(XVX)$modulus) - p * log(2 * pi)
  list(values = values, inverse = inverse, Phi = Phi, beta = beta, deviance = deviance,
       residual = m$y - drop(m$X %*% beta))
}

# By the parameters of V: tr(P E) - e'V^-1 E V^-1 e, with V^-1 for P by ML.
gradient <- function(m, at) {
  out <- numeric(length(at$values))
  for (k in seq_along(m$blocks)) {
    rows <- m$blocks[[k]]; inverse <- at$inverse[[k]]
    w <- drop(inverse %*% at$residual[rows])
    VX <- inverse %*% m$X[rows, , drop = FALSE]
    P <- inverse - if (m$reml) VX %*% at$Phi %*% t(VX) else 0
    out <- out + vapply(m$directions[[k]], function(E) sum(P * E) - sum(w * drop(E %*% w)), 0)
  }
  out
}

# One that knows nothing, one at the published numbers.
starts <- function(m) {
  spread <- sd(lm.fit(m$X, m$y)$residuals)
  blind <- published <- numeric()
  for (place in seq_along(m$levels)) {
    l <- m$levels[[place]]; Z <- as.matrix(l$Z)
    blind <- c(blind, apply(l$cells, 1, function(cell) {
      z <- Z[, cell[1]]
      if (cell[1] == cell[2]) 0.5 * spread / sqrt(mean(z[z != 0]^2)) else 0
    }))
    T <- do.call(rbind, lapply(m$stated$result$random[[place]]$cov, unlist))
    e <- eigen(T, symmetric = TRUE)
    # Any factor will do; that of QR is lower triangular.
    L <- t(qr.R(qr(t(e$vectors %*% diag(sqrt(pmax(e$values, 0)), nrow(T))))))
    published <- c(published, L[l$cells])
  }
  residual <- m$stated$result$residual
  if (is.null(m$joint)) {
    return(list(c(blind, log(0.7 * spread)), c(published, log(m$stated$result$sigma))))
  }
  list(c(blind, rep(log(0.7 * spread), 2), 0), c(published, log(unlist(residual$sd)), atanh(residual$rho)))
}

maximise <- function(m) {
  last <- NULL
  evaluate <- function(theta) {
    if (is.null(last) || !identical(last$theta, theta)) {
      at <- at_values(m, parameters(m, theta)$values)
      last <<- list(theta = theta, at = at)
    }
    last$at
  }
  value <- function(theta) { at <- evaluate(theta); if (is.null(at)) 1e10 else at$deviance }
  slope <- function(theta) {
    at <- evaluate(theta)
    if (is.null(at)) return(numeric(length(theta)))
    drop(gradient(m, at) %*% parameters(m, theta)$slopes)
  }
  best <- NULL
  for (start in starts(m)) {
    theta <- unname(start)
    # Stopped and begun again: a new curvature finds what a worn one passes.
    for (again in 1:6) {
      found <- optim(theta, value, slope, method = "BFGS", control = list(maxit = 1000, reltol = 1e-15))
      done <- max(abs(found$par - theta)) < 1e-7
      theta <- found$par
      if (done) break
    }
    if (is.null(best) || found$value < best$value - 1e-9) best <- found
  }
  # BFGS ends near the top, a Newton step from there on it: degrees of freedom notice the difference.
  theta <- best$par - drop(inverse_curvature(m, best$par) %*% slope(best$par))
  if (value(theta) > best$value + 1e-9) theta <- best$par
  c(evaluate(theta), list(theta = theta))
}

# Of the deviance, in the directions of which the data tell. By differences of the gradient, of fourth order:
# beside a variance near zero the curvature itself bends within one step.
inverse_curvature <- function(m, theta) {
  slope <- function(theta) {
    par <- parameters(m, theta)
    drop(gradient(m, at_values(m, par$values)) %*% par$slopes)
  }
  H <- sapply(seq_along(theta), function(i) {
    change <- function(h) {
      step <- replace(numeric(length(theta)), i, h)
      (slope(theta + step) - slope(theta - step)) / (2 * h)
    }
    h <- 1e-4 * max(1, abs(theta[i]))
    (4 * change(h) - change(2 * h)) / 3
  })
  e <- eigen((H + t(H)) / 2, symmetric = TRUE)
  told <- e$values > 1e-6 * max(e$values)
  U <- e$vectors[, told, drop = FALSE]
  U %*% (t(U) / e$values[told])
}

# ---- inference --------------------------------------------------------------------------------------------

kenward_roger <- function(m, at) {
  k <- length(at$values); p <- length(at$beta)
  Y <- replicate(k, matrix(0, p, p), simplify = FALSE)
  Q <- array(0, c(k, k, p, p)); traces <- matrix(0, k, k)
  for (b in seq_along(m$blocks)) {
    inverse <- at$inverse[[b]]; X <- m$X[m$blocks[[b]], , drop = FALSE]
    VE <- lapply(m$directions[[b]], function(E) inverse %*% E)
    VX <- inverse %*% X
    EVX <- lapply(m$directions[[b]], function(E) E %*% VX)
    for (a in seq_len(k)) {
      Y[[a]] <- Y[[a]] + crossprod(VX, EVX[[a]])
      left <- crossprod(EVX[[a]], inverse)
      for (c in seq_len(k)) {
        Q[a, c, , ] <- Q[a, c, , ] + left %*% EVX[[c]]
        traces[a, c] <- traces[a, c] + sum(VE[[a]] * t(VE[[c]]))
      }
    }
  }
  Phi <- at$Phi
  YPhi <- lapply(Y, function(y) y %*% Phi)
  K <- traces
  for (a in seq_len(k)) for (c in seq_len(k)) {
    K[a, c] <- traces[a, c] - 2 * sum(Q[a, c, , ] * t(Phi)) + sum(YPhi[[a]] * t(YPhi[[c]]))
  }
  e <- eigen((K + t(K)) / 2, symmetric = TRUE)
  told <- e$values > 1e-10 * max(e$values)
  W <- 2 * e$vectors[, told] %*% (t(e$vectors[, told]) / e$values[told])
  middle <- matrix(0, p, p)
  for (a in seq_len(k)) for (c in seq_len(k)) {
    middle <- middle + W[a, c] * (matrix(Q[a, c, , ], p, p) - YPhi[[a]] %*% Y[[c]])
  }
  list(cov = Phi + Phi %*% (middle + t(middle)) %*% Phi, df = function(contrast) {
    u <- drop(Phi %*% contrast)
    slopes <- vapply(Y, function(y) sum(u * drop(y %*% u)), 0)
    2 * sum(contrast * u)^2 / sum(slopes * drop(W %*% slopes))
  })
}

satterthwaite <- function(m, at) {
  theta <- at$theta
  A <- 2 * inverse_curvature(m, theta)
  slopes <- parameters(m, theta)$slopes
  list(cov = at$Phi, df = function(contrast) {
    u <- drop(at$Phi %*% contrast); by_value <- numeric(length(at$values))
    for (b in seq_along(m$blocks)) {
      v <- drop(at$inverse[[b]] %*% m$X[m$blocks[[b]], , drop = FALSE] %*% u)
      by_value <- by_value + vapply(m$directions[[b]], function(E) sum(v * drop(E %*% v)), 0)
    }
    g <- drop(by_value %*% slopes)
    2 * sum(contrast * u)^2 / sum(g * drop(A %*% g))
  })
}

tested <- function(estimate, se, df) {
  t <- estimate / se; half <- qt(0.975, df) * se
  list(estimate = estimate, se = se, df = df, t = t, p = 2 * pt(-abs(t), df),
       lower = estimate - half, upper = estimate + half)
}

# Every number that the bundle states of a model, computed here.
numbers_of <- function(m) {
  at <- maximise(m); method <- m$stated$result$df_method
  known <- switch(method, "kenward-roger" = kenward_roger(m, at), satterthwaite = satterthwaite(m, at),
                  list(cov = at$Phi, df = function(contrast) Inf))
  p <- length(at$beta); k <- p + length(at$values)
  out <- list(n = m$n, loglik = -at$deviance / 2, deviance = at$deviance, aic = at$deviance + 2 * k,
              bic = at$deviance + k * log(m$n$rows))
  out$fixed <- setNames(lapply(seq_len(p), function(i) {
    tested(at$beta[i], sqrt(known$cov[i, i]), known$df(replace(numeric(p), i, 1)))
  }), m$terms)
  place <- 0
  for (l in m$levels) {
    T <- matrix(0, length(l$terms), length(l$terms))
    for (cell in seq_len(nrow(l$cells))) {
      place <- place + 1
      T[l$cells[cell, 1], l$cells[cell, 2]] <- T[l$cells[cell, 2], l$cells[cell, 1]] <- at$values[place]
    }
    sds <- sqrt(pmax(diag(T), 0))
    below <- which(lower.tri(T), arr.ind = TRUE)
    out$random[[l$group]] <- list(
      sd = setNames(as.list(sds), l$terms),
      corr = setNames(as.list((T / outer(sds, sds))[below]), sprintf("%s,%s", l$terms[below[, 2]], l$terms[below[, 1]])))
  }
  if (is.null(m$joint)) {
    out$sigma <- sqrt(tail(at$values, 1))
    return(out)
  }
  r <- tail(at$values, 3)
  out$residual <- list(sd = setNames(as.list(sqrt(r[c(1, 3)])), m$raters), rho = r[2] / sqrt(r[1] * r[3]))
  rows <- lapply(m$stated$result$contrasts, function(row) {
    rest <- if (row$effect == "level") row$predictor else paste0(m$joint$time, ":", row$predictor)
    c <- (m$terms == paste0(m$raters[1], ":", rest)) - (m$terms == paste0(m$raters[2], ":", rest))
    tested(sum(c * at$beta), sqrt(sum(c * drop(known$cov %*% c))), known$df(c))
  })
  raw <- vapply(rows, function(row) row$p, 0)
  out$contrasts <- setNames(Map(function(row, by_holm, by_bh) c(row, p_holm = by_holm, p_bh = by_bh),
                                rows, p.adjust(raw, "holm"), p.adjust(raw, "BH")),
                            vapply(m$stated$result$contrasts, function(row) paste(row$predictor, row$effect, sep = ":"), ""))
  out
}

# The same model by lme4, as another voice: fixed effects, residual SD and likelihood.
lme4_of <- function(m) {
  # lme4 does not read a lone intercept that is called uncorrelated.
  formula <- as.formula(gsub("(1 || ", "(1 | ", m$stated$formula, fixed = TRUE))
  fit <- suppressWarnings(suppressMessages(lmer(
    formula, m$frame, REML = m$reml,
    control = lmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-9, maxfun = 1e5), calc.derivs = FALSE))))
  plain <- function(name) {
    parts <- strsplit(name, ":", fixed = TRUE)[[1]]
    paste(sort(gsub("\\[(T\\.)?|\\]|C\\(|\\)", "", parts)), collapse = ":")
  }
  by_lme4 <- fixef(fit); names(by_lme4) <- vapply(names(by_lme4), plain, "")
  names(by_lme4)[names(by_lme4) == "(Intercept"] <- "Intercept"
  list(loglik = as.numeric(logLik(fit)), sigma = sigma(fit),
       fixed = setNames(by_lme4[vapply(m$terms, plain, "")], m$terms))
}

# ---- what the bundle states -------------------------------------------------------------------------------

stated_of <- function(result) {
  tests <- c("estimate", "se", "df", "t", "p", "lower", "upper")
  out <- result[c("loglik", "deviance", "aic", "bic")]
  out$n <- result$n[names(result$n) != "dropped"]
  out$fixed <- setNames(lapply(result$fixed, function(row) row[tests]), vapply(result$fixed, function(row) row$term, ""))
  for (row in result$random) {
    terms <- unlist(row$terms); q <- length(terms); corr <- list()
    for (j in seq_len(q)) for (i in seq_len(q)) if (i > j) {
      corr[[paste(terms[j], terms[i], sep = ",")]] <- row$corr[[i]][[j]]
    }
    out$random[[row$group]] <- list(sd = setNames(row$sd, terms), corr = corr)
  }
  if (is.null(result$residual)) {
    out$sigma <- result$sigma
    return(out)
  }
  out$residual <- result$residual
  out$contrasts <- setNames(lapply(result$contrasts, function(row) row[c(tests, "p_holm", "p_bh")]),
                            vapply(result$contrasts, function(row) paste(row$predictor, row$effect, sep = ":"), ""))
  out
}

passed <- failed <- 0
say <- function(label, name, stated, found, tolerance) {
  # A correlation with an effect that does not vary, df of a normal test: no number was published.
  if (is.null(stated)) return(invisible())
  found <- as.numeric(found)
  near <- if (name %in% c("p", "p_holm", "p_bh")) max(1e-6, 1e-3 * abs(found)) else tolerance * max(1, abs(found))
  ok <- length(found) == 1 && is.finite(found) && abs(stated - found) <= near
  if (ok) passed <<- passed + 1 else failed <<- failed + 1
  cat(sprintf("%s  %-60s published %-22.10g computed %.10g\n", if (ok) "PASS" else "FAIL", label, stated,
              if (length(found)) found else NaN))
}

leaves <- function(stated, found, label, tolerance, name = "") {
  if (!is.list(stated)) return(say(label, name, stated, found, tolerance))
  for (key in names(stated)) leaves(stated[[key]], found[[key]], paste(label, key), tolerance, key)
}

expected <- fromJSON(file.path(here, "expected.json"), simplifyVector = FALSE)
computed <- list()
for (analysis in expected$analyses) for (stated in analysis$models) {
  key <- paste(analysis$number, stated$key, sep = "/")
  if (!stated$result$status %in% c("ok", "singular")) {
    cat(sprintf("NONE  %s: %s, no number was published\n", key, stated$result$status))
    next
  }
  cat(sprintf("\n%s: %s\n", key, stated$formula))
  m <- model_of(stated)
  computed[[key]] <- numbers_of(m)
  leaves(stated_of(stated$result), computed[[key]], key, expected$tolerance)
  if (is.null(m$joint)) {
    voice <- lme4_of(m)
    say(paste(key, "lme4 loglik"), "loglik", stated$result$loglik, voice$loglik, expected$tolerance)
    say(paste(key, "lme4 sigma"), "sigma", stated$result$sigma, voice$sigma, expected$tolerance)
    for (row in stated$result$fixed) {
      say(paste(key, "lme4", row$term), "estimate", row$estimate, voice$fixed[[row$term]], expected$tolerance)
    }
  }
}
for (table in expected$tables) {
  cat(sprintf("\nTable %s, version %s\n", table$code, table$version))
  for (cell in table$cells) {
    path <- unlist(cell$path)
    say(paste(table$code, cell$name), tail(path, 1), cell$value, Reduce(function(tree, name) tree[[name]], path, computed[[cell$model]]),
        expected$tolerance)
  }
}
cat(sprintf("\n%d passed, %d failed.\n", passed, failed))
cat(sprintf("%s on %s; lme4 %s, jsonlite %s.\n", R.version.string, R.version$platform, packageVersion("lme4"), packageVersion("jsonlite")))
quit(status = if (failed > 0 || passed == 0) 1 else 0)
