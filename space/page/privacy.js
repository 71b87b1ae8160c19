/**
 * Locks the page off the network, for good: from here on the browser itself refuses every connection, also of the
 * worker that is made from a Blob afterwards. Only a reload opens the page again.
 */
export function lock() {
  const policy = document.createElement("meta");
  policy.httpEquiv = "Content-Security-Policy";
  policy.content = [
    "default-src 'none'",
    "connect-src 'none'",
    "img-src blob: data:",
    "script-src blob: 'wasm-unsafe-eval'",
    "style-src 'none'",
    "worker-src blob:",
    "form-action 'none'",
  ].join("; ");
  document.head.append(policy);
}
