const fs = require('fs'), http = require('http');
http.createServer((request, response) => {
  const path = '.' + request.url;
  response.setHeader('Content-Length', fs.statSync(path).size);
  fs.createReadStream(path).pipe(response);
}).listen(Number(process.argv[2]), '127.0.0.1');
