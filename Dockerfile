# One image for web, worker, beat and migrations; docker-compose.yml says which is which.
FROM python:3.11-slim

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore \
    VAR=/app/var BACKUP_DIR=/backups STATIC_ROOT=/app/static STATIC_COMPRESS=1 WEB_CONCURRENCY=2

WORKDIR /app
RUN useradd --system --uid 10001 --home-dir /app --shell /usr/sbin/nologin alliance

# Letters for the texts of PDF files and pictures.
RUN apt-get update -qq && apt-get install -qq -y --no-install-recommends fonts-dejavu-core \
    && rm -rf /var/lib/apt/lists/*

COPY requirements.txt ./
RUN pip install --quiet --require-hashes -r requirements.txt

COPY . .
# The values are only there for the settings to load; nothing of them stays in the image.
RUN SECRET_KEY="$(python -c 'import secrets; print(secrets.token_urlsafe(64))')" \
    FIELD_KEY="$(python -c 'import secrets; print(secrets.token_urlsafe(64))')" \
    ALLOWED_HOSTS=localhost DATABASE_URL=postgresql://build/build CELERY_BROKER_URL=redis://build \
    sh -c 'python manage.py build_vega && python manage.py collectstatic --no-input --verbosity 0' \
    && install -d -o alliance -g alliance -m 0700 /app/var /backups /scratch

USER alliance
EXPOSE 8000
# WEB_CONCURRENCY says how many processes there are. Token links stand in paths, so there is no access log. Rendering hangs after a fork, so no --preload.
CMD ["gunicorn", "alliance_site.wsgi:application", "--bind", "0.0.0.0:8000", \
     "--worker-class", "gthread", "--threads", "4", "--timeout", "30", \
     "--limit-request-line", "4094", "--no-control-socket", "--log-level", "warning"]
