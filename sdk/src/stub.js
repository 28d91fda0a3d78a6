// For the head of a page: calls are noted until the script is there, and do nothing where it is blocked.
((w, n, u) => {
  u = w[n] = w[n] || { q: [] };
  "init label page track grant revoke flush stop motion session counts".split(" ").forEach((m, i) => {
    u[m] =
      u[m] ||
      function () {
        u.q.length > 999 || u.q.push([m, arguments, Date.now(), location.href]);
        return [Promise.resolve(!1), "", {}][i < 9 ? 0 : i - 8];
      };
  });
})(window, "unjoin");
