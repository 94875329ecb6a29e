// The list refreshes by itself: quickly while an order waits for its images, slowly otherwise.
"use strict";
(function () {
  var live = document.getElementById("live");

  function take(html) {
    var fresh = new DOMParser().parseFromString(html, "text/html").getElementById("live");
    if (!fresh || fresh.outerHTML === live.outerHTML) { return; }
    var focused = document.activeElement && document.activeElement.id;
    live.replaceWith(fresh);
    live = fresh;
    if (focused && document.getElementById(focused)) { document.getElementById(focused).focus(); }
    document.getElementById("news").textContent = "The record was updated.";
  }

  function again() {
    var wait = live.hasAttribute("data-waiting") ? 1500 : 5000;
    window.setTimeout(function () {
      if (document.hidden) { return again(); }
      fetch(location.href, { credentials: "same-origin", cache: "no-store" })
        .then(function (answer) { return answer.ok ? answer.text() : ""; })
        .then(take, function () { /* stopped: the next try will tell */ })
        .then(again);
    }, wait);
  }

  again();
})();
