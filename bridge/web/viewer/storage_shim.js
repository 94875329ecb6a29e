// In a frame whose storage the browser blocks, reading window.localStorage throws and OHIF dies at boot:
// give it one that lives as long as the page. First script of index.html (added at install).
(function () {
  function memory() {
    const items = new Map();
    return {
      getItem: (key) => (items.has(String(key)) ? items.get(String(key)) : null),
      setItem: (key, value) => { items.set(String(key), String(value)); },
      removeItem: (key) => { items.delete(String(key)); },
      clear: () => items.clear(),
      key: (index) => Array.from(items.keys())[index] ?? null,
      get length() { return items.size; },
    };
  }
  for (const name of ['localStorage', 'sessionStorage']) {
    try {
      window[name].getItem('x');
    } catch {
      Object.defineProperty(window, name, { value: memory(), configurable: true });
    }
  }
})();
