'use strict';
// Adds files as people do. Arguments: what to do, the address of the site, and where files are:
// one.txt, two & 100%.txt, there.txt (which the site has too) and large.bin.
const assert = require('node:assert/strict');
const fs = require('node:fs');
const http = require('node:http');
const net = require('node:net');
const path = require('node:path');
const axe = require('axe-core');

const [part, site, sent] = process.argv.slice(2);
const file = (name) => path.join(sent, name);
const names = (page) => page.locator('#list tbody tr:not(.up) bdi').allTextContents();
const row = (page, name) => page.locator('#uploads li').filter({ hasText: name });
const password = { httpCredentials: { username: 'alice', password: 'password' } };

// Drops files as the system does: there is no other way from a script.
async function drop(page, files) {
  const contents = files.map((name) => [name, fs.readFileSync(file(name), 'base64')]);
  const data = await page.evaluateHandle(async (all) => {
    const data = new DataTransfer();
    for (const [name, base64] of all) {
      const bytes = Uint8Array.from(atob(base64), (it) => it.charCodeAt(0));
      data.items.add(new File([bytes], name));
    }
    return data;
  }, contents);
  await page.dispatchEvent('body', 'dragover', { dataTransfer: data });
  assert.equal(await page.locator('body.dropping').count(), 1);
  await page.dispatchEvent('#list', 'drop', { dataTransfer: data });
  assert.equal(await page.locator('body.dropping').count(), 0);
}

// A way to the site that is cut after so many bytes of a connection, so often.
async function cutting(times, most) {
  let [cuts, bytes] = [0, 0];
  const { hostname, port } = new URL(site);
  const server = net.createServer((near) => {
    const far = net.connect(port, hostname);
    let sent = 0;
    const end = () => { near.destroy(); far.destroy(); };
    near.on('data', (piece) => {
      [sent, bytes] = [sent + piece.length, bytes + piece.length];
      if (sent > most && cuts < times) {
        cuts += 1;
        end();
      } else if (!far.write(piece)) near.pause();
    });
    far.on('drain', () => near.resume());
    far.on('data', (piece) => near.write(piece));
    for (const socket of [near, far]) socket.on('error', end).on('close', end);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  server.unref();
  const address = `http://127.0.0.1:${server.address().port}/`;
  return { address, cuts: () => cuts, bytes: () => bytes };
}

const parts = {
  async click(open) {
    const page = await open();
    await page.getByText('or drop them on the page').waitFor();
    const input = page.getByLabel('Add files');
    await input.setInputFiles(['one.txt', 'there.txt', 'two & 100%.txt'].map(file));
    await page.getByRole('button', { name: 'Upload' }).press('Enter');
    await row(page, 'two & 100%.txt').getByText('Added').waitFor();
    await row(page, 'one.txt').getByText('Added').waitFor();
    const refused = row(page, 'there.txt').locator('.said');
    assert.equal(await refused.textContent(), 'There is such a file, and none is replaced here.');
    // The list is as it is now, and what happened is told to those who do not see it.
    await page.locator('#list').getByText('two & 100%.txt').waitFor();
    assert.deepEqual(await names(page), ['one.txt', 'there.txt', 'two & 100%.txt']);
    assert.equal(await page.locator('#told[role=status]').textContent(), 'two & 100%.txt: Added');
    assert.equal(await input.inputValue(), '');
    await page.getByRole('button', { name: 'Dismiss there.txt' }).click();
    assert.equal(await page.locator('#uploads li').count(), 2);
    // One that is stopped leaves nothing.
    await page.route('**/large.bin*', async (route) => {
      if (route.request().method() !== 'PATCH') return route.continue();
      await page.getByRole('button', { name: 'Cancel large.bin' }).click();
      return route.abort().catch(() => {});
    });
    await input.setInputFiles(file('large.bin'));
    await page.getByRole('button', { name: 'Upload' }).click();
    await row(page, 'large.bin').getByText('Cancelled').waitFor();
    return ['409', 'Conflict'];
  },

  // Its connection is cut twice, and it goes on where it was.
  async cut(open) {
    const proxy = await cutting(2, 5_000_000);
    const page = await open();
    await page.goto(proxy.address);
    const isList = (url) => url.pathname === '/';
    await page.route(isList, (route) => route.abort());
    const isLost = (request) => isList(new URL(request.url()));
    const lost = page.waitForEvent('requestfailed', isLost);
    await page.getByLabel('Add files').setInputFiles(file('large.bin'));
    await page.getByRole('button', { name: 'Upload' }).click();
    await row(page, 'large.bin').getByText('Trying again').waitFor();
    await row(page, 'large.bin').getByText('Added').waitFor();
    // That the list is not there afterwards takes no one from what was said.
    await lost;
    await page.evaluate(() => new Promise((resolve) => { setTimeout(resolve, 300); }));
    assert.equal(await row(page, 'large.bin').getByText('Added').count(), 1);
    assert.equal(proxy.cuts(), 2);
    assert.ok(proxy.bytes() < 60_000_000, `${proxy.bytes()} were sent of 40,000,000`);
    // What a browser sends again by itself, it sends to where the upload no longer is.
    return ['ERR_', '409'];
  },

  async drop(open) {
    const page = await open(password);
    await page.getByRole('searchbox').fill('one');
    await page.getByText('0 files with “one”').waitFor();
    await drop(page, ['two & 100%.txt', 'one.txt']);
    await row(page, 'one.txt').getByText('Added').waitFor();
    await page.getByText('1 file with “one”').waitFor();
    assert.deepEqual(await names(page), ['one.txt']);
    const bar = row(page, 'two').getByRole('progressbar');
    assert.deepEqual(await bar.evaluate((it) => [it.value, it.max]), [70000, 70000]);
  },

  async 'without script'(open) {
    const page = await open({ ...password, javaScriptEnabled: false });
    assert.equal(await page.locator('#drop').isVisible(), false);
    const input = page.getByLabel('Add files');
    await input.setInputFiles([file('one.txt'), file('two & 100%.txt')]);
    await page.getByRole('button', { name: 'Upload' }).click();
    await page.waitForURL(site);
    assert.deepEqual(await names(page), ['one.txt', 'there.txt', 'two & 100%.txt']);
    await page.getByLabel('Add files').setInputFiles(file('there.txt'));
    await page.getByRole('button', { name: 'Upload' }).click();
    await page.getByText('there.txt: There is such a file, and none is replaced here.').waitFor();
    return ['409', 'Conflict'];
  },

  // The page of another origin, which has the password too, sends a form and a request.
  async 'other site'(open) {
    const page = await open();
    const hostile = http.createServer((_, answer) => {
      answer.setHeader('Content-Type', 'text/html');
      answer.end(`<form method="post" action="${site}" enctype="multipart/form-data">
        <input type="file" name="file"><button>Send</button></form>`);
    });
    await new Promise((resolve) => hostile.listen(0, '127.0.0.1', resolve));
    const address = `http://127.0.0.1:${hostile.address().port}/`;
    await page.goto(address);
    await page.locator('input').setInputFiles(file('one.txt'));
    await page.getByRole('button', { name: 'Send' }).click();
    await page.getByText('A page of another site has sent this').waitFor();
    await page.goto(address);
    const put = await page.evaluate((url) => fetch(`${url}one.txt`, { method: 'PUT', body: 'x' })
      .then(() => 'sent', () => 'refused'), site);
    assert.equal(put, 'refused');
    hostile.close();
    return ['403', 'CORS', 'ERR_FAILED'];
  },

  async axe(open) {
    let isFirst = true;
    for (const colorScheme of ['light', 'dark']) {
      for (const width of [1280, 400]) {
        const page = await open({ colorScheme, viewport: { width, height: 800 } });
        const look = async (name) => {
          await page.evaluate(axe.source);
          const { violations } = await page.evaluate(() =>
            globalThis.axe.run({ resultTypes: ['violations'] }));
          const found = violations.map((it) => [it.id, ...it.nodes.map((node) => node.html)]);
          assert.deepEqual(found, [], `${name} ${colorScheme} ${width}`);
          const wide = await page.evaluate(() => document.documentElement.scrollWidth);
          assert.ok(wide <= width, `${name}: ${wide} of ${width} pixels`);
          const folder = process.env.UNDERPASS_SCREENSHOTS;
          const at = `${folder}/upload-${name}-${colorScheme}-${width}.png`;
          if (folder) await page.screenshot({ path: at });
        };
        await look('before');
        await page.evaluate(() => document.body.classList.add('dropping'));
        await look('dropping');
        await page.evaluate(() => document.body.classList.remove('dropping'));
        // One is added, one refused, one on its way and one waits.
        if (isFirst) await page.getByLabel('Add files').setInputFiles(file('one.txt'));
        if (isFirst) await page.getByRole('button', { name: 'Upload' }).click();
        if (isFirst) await row(page, 'one.txt').getByText('Added').waitFor();
        isFirst = false;
        let release;
        const held = new Promise((resolve) => { release = resolve; });
        await page.route('**/two*', (route) => held.then(() => route.abort()));
        await page.getByLabel('Add files')
          .setInputFiles(['there.txt', 'two & 100%.txt', 'large.bin'].map(file));
        await page.getByRole('button', { name: 'Upload' }).click();
        await row(page, 'two & 100%.txt').getByText('%', { exact: false }).first().waitFor();
        await row(page, 'there.txt').getByText('There is such a file').waitFor();
        await look('under-way');
        await page.getByRole('button', { name: 'Cancel large.bin' }).click();
        release();
        await row(page, 'large.bin').getByText('Cancelled').waitFor();
        await row(page, 'two & 100%.txt').getByText('The connection was lost').waitFor();
      }
    }
    return ['409', 'Conflict', 'ERR_FAILED'];
  },
};

require('./run').run(parts[part], site);
