'use strict';
// What the page can do more than a page without a script: filter as one types, arrows, previews.
const byId = (id) => document.getElementById(id);
const [form, box, preview, content, note] = ['filter', 'q', 'preview', 'content', 'note'].map(byId);
const links = (which = 'a') => [...document.querySelectorAll(`#list td:first-child > ${which}`)];
const FRONT_BYTES = 65536;

// The server filters, so that all pages are filtered and every reference fits.
let pause, asking;
async function filter(mayLeave = true) {
  clearTimeout(pause);
  asking?.abort();
  asking = new AbortController();
  const query = new URLSearchParams(new FormData(form));
  if (!query.get('q')) query.delete('q');
  const url = `./${query.toString() ? '?' : ''}${query}`;
  try {
    const answer = await fetch(url, { signal: asking.signal });
    if (!answer.ok) throw new Error(answer.status);
    const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
    for (const id of ['list', 'pages', 'links']) byId(id).replaceWith(page.getElementById(id));
    byId('status').textContent = page.getElementById('status').textContent;
    history.replaceState(null, '', url);
    addButtons();
  } catch (error) {
    if (error.name === 'AbortError') return false;
    if (mayLeave) form.submit();
  }
  return true;
}
box.addEventListener('input', () => {
  clearTimeout(pause);
  pause = setTimeout(filter, 150);
});
form.addEventListener('submit', async (event) => {
  event.preventDefault();
  if (!(await filter())) return;
  const found = links('a').filter((link) => !link.closest('.up, .none'));
  if (found.length === 1 && box.value) found[0].click();
  else found[0]?.focus();
});

// Arrows go from row to row.
document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || preview.open) return;
  const isInBox = event.target === box;
  if (event.target.matches('input') && !isInBox) return;
  const all = links();
  const at = all.indexOf(event.target.closest('tr')?.querySelector('td > a'));
  const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: all.length - 1 }[event.key];
  if (event.key === '/' && !isInBox) box.select();
  else if (event.key === ' ' && all[at] === event.target && all[at].dataset.preview) show(all[at]);
  else if (event.key === 'ArrowUp' && at === 0) box.select();
  else if (all[to] && (isInBox ? event.key === 'ArrowDown' : at >= 0 || to === 0)) all[to].focus();
  else return;
  event.preventDefault();
});

// Previews: an image by its address, of a text the front, as text.
let shown, reading;
function addButtons() {
  for (const link of links('a[data-preview]')) {
    const button = document.createElement('button');
    button.type = 'button';
    button.className = 'peek';
    button.setAttribute('aria-label', `Preview ${link.textContent}`);
    button.append(byId('next').firstElementChild.cloneNode(true));
    button.querySelector('use').setAttribute('href', '#eye');
    button.addEventListener('click', () => show(link));
    link.after(button);
  }
}
async function show(link) {
  shown = link;
  reading?.abort();
  reading = new AbortController();
  const { signal } = reading;
  byId('shown').textContent = link.textContent;
  byId('open').href = link.href;
  note.textContent = 'Loading';
  const size = link.closest('tr').querySelector('.size').textContent;
  const isImage = link.dataset.preview === 'image';
  const view = document.createElement(isImage ? 'img' : 'pre');
  content.replaceChildren(view);
  if (!preview.open) preview.showModal();
  try {
    if (isImage) {
      view.alt = link.textContent;
      view.src = link.href;
      await view.decode();
      const pixels = `${view.naturalWidth} × ${view.naturalHeight}`;
      if (shown === link) note.textContent = `${pixels}, ${size}`;
    } else {
      view.tabIndex = 0;
      const [text, isWhole] = await front(link.href, signal);
      view.textContent = text;
      note.textContent = isWhole ? size : `The first 64 KiB of ${size}`;
    }
  } catch (error) {
    if (signal.aborted) return;
    note.textContent = `It cannot be shown: ${error.message}`;
  }
}
async function front(url, signal) {
  const answer = await fetch(url, { headers: { Range: `bytes=0-${FRONT_BYTES - 1}` }, signal });
  if (!answer.ok) throw new Error(`${answer.status} ${answer.statusText}`);
  const whole = answer.headers.get('Content-Range')?.split('/')[1];
  const decoder = new TextDecoder();
  let [text, taken, isOver] = ['', 0, false];
  // A server may send all of it in place of a part.
  for (const reader = answer.body.getReader(); taken < FRONT_BYTES && !isOver;) {
    const { done, value = new Uint8Array() } = await reader.read();
    const part = value.subarray(0, FRONT_BYTES - taken);
    [taken, isOver] = [taken + part.length, done];
    text += decoder.decode(part, { stream: !done });
    if (taken === FRONT_BYTES) reader.cancel();
  }
  return [text, isOver || Number(whole) <= FRONT_BYTES];
}
function showOther(step) {
  const all = links('a[data-preview]');
  show(all[(all.indexOf(shown) + step + all.length) % all.length]);
}
byId('previous').addEventListener('click', () => showOther(-1));
byId('next').addEventListener('click', () => showOther(1));
byId('shut').addEventListener('click', () => preview.close());
preview.addEventListener('click', (event) => event.target === preview && preview.close());
preview.addEventListener('keydown', (event) => {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (step && !event.altKey) showOther(step);
});
preview.addEventListener('close', () => {
  reading.abort();
  content.replaceChildren();
  shown.focus();
});

addButtons();
byId('keys').hidden = false;
