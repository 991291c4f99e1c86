
// Files that are put into the directory: each by a request of its own, a large one so that it goes
// on after the connection was cut.
const [sender, chosen, uploads, told] = ['upload', 'files', 'uploads', 'told'].map(byId);
const RESUMED_BYTES = 8 << 20;
const TRIES_MAX = 10;
let [running, turn] = [0, Promise.resolve()];

class Upload {
  constructor(file) {
    this.file = file;
    this.row = document.createElement('li');
    const name = document.createElement('bdi');
    name.textContent = file.name;
    this.bar = document.createElement('progress');
    this.bar.max = file.size || 1;
    this.bar.value = 0;
    this.bar.setAttribute('aria-label', file.name);
    this.said = document.createElement('span');
    this.said.className = 'said';
    this.said.textContent = 'Waiting';
    this.cancel = document.createElement('button');
    this.cancel.type = 'button';
    this.cancel.setAttribute('aria-label', `Cancel ${file.name}`);
    this.cancel.append(byId('shut').firstElementChild.cloneNode(true));
    this.cancel.addEventListener('click', () => this.stop());
    this.row.append(name, this.bar, this.cancel, this.said);
    uploads.append(this.row);
    uploads.hidden = false;
  }

  stop() {
    if (this.isOver) return this.row.remove();
    this.isStopped = true;
    this.request?.abort();
    this.wake?.();
  }

  // Waits for the answer; that there is none is an error.
  ask(method, url, fields = {}, content = null, start = 0) {
    return new Promise((resolve, reject) => {
      if (this.isStopped) return reject(new Error('Cancelled'));
      const request = new XMLHttpRequest();
      this.request = request;
      request.open(method, url);
      for (const [name, value] of Object.entries(fields)) request.setRequestHeader(name, value);
      if (content) request.upload.onprogress = ({ loaded }) => this.show(start + loaded);
      request.onload = () => resolve(request);
      request.onerror = () => reject(new Error('The connection was lost'));
      request.onabort = () => reject(new Error('Cancelled'));
      request.send(content);
    });
  }

  show(bytes) {
    this.bar.value = Math.min(bytes, this.file.size);
    this.said.textContent = `${Math.floor((100 * this.bar.value) / this.bar.max)} %`;
  }

  async run() {
    running += 1;
    try {
      this.show(0);
      const url = `./${encodeURIComponent(this.file.name)}`;
      if (this.file.size > RESUMED_BYTES) await this.putInParts(url);
      else expect(await this.ask('PUT', url, {}, this.file));
      this.bar.value = this.bar.max;
      this.end('Added');
    } catch (error) {
      this.row.className = 'failed';
      this.end(error.message);
    }
    running -= 1;
  }

  async putInParts(url) {
    const fields = { 'Upload-Complete': '?0', 'Upload-Length': this.file.size };
    const at = expect(await this.ask('PUT', url, fields)).getResponseHeader('Location');
    let [offset, tries] = [0, 0];
    while (offset !== null) {
      try {
        offset = await this.putRest(at, offset);
      } catch (error) {
        if (this.isStopped) await this.forget(at);
        if (this.isStopped || error.isAnswer || (tries += 1) > TRIES_MAX) throw error;
        this.said.textContent = `${error.message}. Trying again`;
        await new Promise((resolve) => {
          this.wake = resolve;
          setTimeout(resolve, Math.min(500 * 2 ** tries, 30000));
        });
        const before = offset;
        offset = await this.reached(at, offset).catch(() => before);
        if (offset !== before) tries = 0;
      }
    }
  }

  // Nothing is left to be sent afterwards.
  async putRest(at, offset) {
    const fields = {
      'Upload-Complete': '?1',
      'Upload-Offset': offset,
      'Content-Type': 'application/partial-upload',
    };
    const answer = await this.ask('PATCH', at, fields, this.file.slice(offset), offset);
    const isBehind = answer.status === 409 && answer.getResponseHeader('Upload-Offset') !== null;
    if (isBehind || answer.status >= 502) throw new Error('The connection was lost');
    expect(answer);
    return null;
  }

  // How much of it the server has; `null` if that is all.
  async reached(at, offset) {
    const answer = await this.ask('HEAD', at);
    if (!(answer.status >= 200 && answer.status < 300)) return offset;
    if (answer.getResponseHeader('Upload-Complete') === '?1') return null;
    return Number(answer.getResponseHeader('Upload-Offset'));
  }

  async forget(at) {
    this.isStopped = false;
    await this.ask('DELETE', at).catch(() => {});
    this.isStopped = true;
  }

  end(what) {
    this.isOver = true;
    this.said.textContent = what;
    this.cancel.setAttribute('aria-label', `Dismiss ${this.file.name}`);
    told.textContent = `${this.file.name}: ${what}`;
  }
}

// The answer, unless it says why not.
function expect(answer) {
  if (answer.status >= 200 && answer.status < 300) return answer;
  const [type, text] = [answer.getResponseHeader('Content-Type'), answer.responseText];
  let why = type?.startsWith('text/plain') && text.split('\n')[1];
  if (type === 'application/problem+json') why = JSON.parse(text).title;
  const error = new Error(why || `${answer.status} ${answer.statusText}`);
  error.isAnswer = true;
  throw error;
}

function add(files) {
  const all = [...files].map((file) => new Upload(file));
  for (const one of all) turn = turn.then(() => one.run());
  // If the list cannot be had, what was said of the files stays.
  turn = turn.then(() => all.length && filter(false));
}
sender.addEventListener('submit', (event) => {
  event.preventDefault();
  add(chosen.files);
  chosen.value = '';
});

// What is dropped anywhere on the page.
const drops = (event) => event.dataTransfer?.types.includes('Files');
for (const kind of ['dragenter', 'dragover']) {
  document.addEventListener(kind, (event) => {
    if (!drops(event)) return;
    event.preventDefault();
    document.body.classList.add('dropping');
  });
}
document.addEventListener('dragleave', (event) => {
  if (!event.relatedTarget) document.body.classList.remove('dropping');
});
document.addEventListener('drop', (event) => {
  if (!drops(event)) return;
  event.preventDefault();
  document.body.classList.remove('dropping');
  const items = [...event.dataTransfer.items].filter((item) => item.kind === 'file');
  const folders = items.filter((item) => item.webkitGetAsEntry?.()?.isDirectory);
  const names = folders.map((item) => item.getAsFile()?.name);
  const files = [...event.dataTransfer.files];
  for (const file of files.filter((it) => names.includes(it.name))) {
    const one = new Upload(file);
    one.row.className = 'failed';
    one.end('A folder cannot be added: add the files in it');
  }
  add(files.filter((file) => !names.includes(file.name)));
});
window.addEventListener('beforeunload', (event) => running && event.preventDefault());
byId('drop').hidden = false;
