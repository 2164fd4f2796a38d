{% load static %}{% url 'form-offline' as page %}// In place of a form page that cannot be loaded, shows a page that says so and comes back by itself.
// It keeps that one page and its files; forms and what is sent never pass through any store.
"use strict";

const PAGE = "{{ page }}?language={{ LANGUAGE_CODE }}";
const FILES = [PAGE, "{% static 'css/base.css' %}", "{% static 'css/icon.svg' %}", "{% static 'surveys/seal.js' %}", "{% static 'surveys/offline.js' %}"];
const STORE = "offline {{ version }} {{ LANGUAGE_CODE }}";
const AWAY = [502, 503, 504];

self.addEventListener("install", (event) => {
  const keep = async () => {
    await (await caches.open(STORE)).addAll(FILES);
    await self.skipWaiting();
  };
  event.waitUntil(keep());
});

self.addEventListener("activate", (event) => {
  const takeOver = async () => {
    const names = await caches.keys();
    await Promise.all(names.filter((name) => name !== STORE).map((name) => caches.delete(name)));
    await self.clients.claim();
  };
  event.waitUntil(takeOver());
});

const visit = async (request) => {
  let answer = Response.error();
  try {
    answer = await fetch(request);
  } catch {
    return (await caches.match(PAGE)) ?? answer;
  }
  return (AWAY.includes(answer.status) && (await caches.match(PAGE))) || answer;
};

const file = async (request) => {
  try {
    return await fetch(request);
  } catch {
    return (await caches.match(request)) ?? Response.error();
  }
};

self.addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.method !== "GET") return;
  if (request.mode === "navigate") event.respondWith(visit(request));
  else if (FILES.includes(new URL(request.url).pathname)) event.respondWith(file(request));
});
