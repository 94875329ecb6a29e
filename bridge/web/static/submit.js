// A link is spent by this form: wait until a person can see the page (a preview or prerender never does).
(function () {
  var sent = false;
  function send() {
    if (sent || document.visibilityState !== 'visible' || document.prerendering) return;
    sent = true;
    document.getElementById('open').submit();
  }
  document.addEventListener('visibilitychange', send);
  document.addEventListener('prerenderingchange', send);
  send();
})();
