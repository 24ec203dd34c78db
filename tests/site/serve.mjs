// A static file server on a free local port. Text is compressed as any static host does, so that bytes can be counted.
import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { extname, join, normalize, sep } from "node:path";
import { gzipSync } from "node:zlib";

const TYPES = {
  ".css": "text/css", ".html": "text/html", ".ico": "image/x-icon", ".ipynb": "application/x-ipynb+json",
  ".jpg": "image/jpeg", ".js": "text/javascript", ".json": "application/json", ".md": "text/markdown",
  ".png": "image/png", ".svg": "image/svg+xml", ".woff2": "font/woff2",
};
const PACKED = new Set([".png", ".jpg", ".woff2"]);

export async function serve(root) {
  const server = createServer(async (request, response) => {
    const path = normalize(decodeURIComponent(new URL(request.url, "http://local").pathname));
    const file = join(root, path.endsWith(sep) ? path + "index.html" : path);
    try {
      const body = await readFile(file);
      const headers = { "content-type": `${TYPES[extname(file)] ?? "application/octet-stream"}; charset=utf-8` };
      if (PACKED.has(extname(file))) return response.writeHead(200, headers).end(body);
      response.writeHead(200, { ...headers, "content-encoding": "gzip" }).end(gzipSync(body, { level: 9 }));
    } catch {
      response.writeHead(404, { "content-type": "text/plain" }).end(`no such file: ${path}`);
    }
  });
  await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
  return { origin: `http://127.0.0.1:${server.address().port}`, close: () => server.close() };
}
