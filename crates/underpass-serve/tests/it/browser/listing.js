'use strict';
// Uses a listing as people do. Arguments: what to do, and the address of the site.
const assert = require('node:assert/strict');
const axe = require('axe-core');

const [part, site] = process.argv.slice(2);
const names = (page) => page.locator('#list tbody tr:not(.up) bdi').allTextContents();
const focused = (page) => page.evaluate(() => document.activeElement.textContent);
const status = (page) => page.locator('#status').textContent();

const parts = {
  async clicks(open) {
    const page = await open();
    const first = ['docs', 'many', 'photos', '<img src=x onerror=alert(1)>.txt', 'large.txt',
      'program.bin', 'README'];
    assert.deepEqual(await names(page), first);
    assert.equal(await status(page), '3 folders, 4 files');
    const size = page.getByRole('columnheader', { name: 'Size' });
    await size.getByRole('link').click();
    await page.waitForURL('**/?sort=size&order=desc');
    assert.equal(await size.getAttribute('aria-sort'), 'descending');
    assert.equal((await names(page))[3], 'large.txt');
    await size.getByRole('link').click();
    await page.waitForURL('**/?sort=size');
    assert.equal((await names(page))[6], 'large.txt');
    // The filter keeps the order, and every reference keeps the filter.
    await page.getByRole('searchbox').pressSequentially('r');
    await page.waitForURL('**/?sort=size&q=r');
    await page.getByText('4 files with “r”').waitFor();
    await page.getByRole('searchbox').pressSequentially('e');
    await page.waitForURL('**/?sort=size&q=re');
    assert.equal(await page.getByRole('searchbox').inputValue(), 're');
    assert.deepEqual(await names(page), ['README']);
    await page.reload();
    assert.deepEqual(await names(page), ['README']);
    await page.getByRole('link', { name: 'Name' }).click();
    await page.waitForURL('**/?q=re');
    await page.getByRole('searchbox').fill('nothing has this');
    await page.getByText('No name here has').waitFor();
    await page.getByRole('link', { name: 'Show all' }).click();
    assert.deepEqual(await names(page), first);
    await page.getByRole('link', { name: 'docs' }).click();
    await page.getByRole('link', { name: 'deep' }).click();
    assert.deepEqual(await names(page), ['note.md']);
    const download = page.waitForEvent('download');
    await page.getByRole('link', { name: 'Download as zip' }).click();
    assert.equal((await download).suggestedFilename(), 'deep.zip');
    await page.getByRole('heading').getByRole('link', { name: 'docs' }).click();
    await page.waitForURL('**/docs/');
    await page.getByRole('link', { name: '../' }).click();
    await page.getByRole('link', { name: 'many' }).click();
    // Of many pages the filter is of all.
    assert.equal((await names(page)).length, 1000);
    await page.getByRole('link', { name: 'Next' }).click();
    await page.waitForURL('**/many/?page=2');
    assert.deepEqual((await names(page)).slice(0, 2), ['f1001', 'f1002']);
    await page.getByText('1,001–2,000 of 2,345').waitFor();
    await page.getByRole('spinbutton').fill('3');
    await page.getByRole('button', { name: 'Go' }).click();
    await page.waitForURL('**/many/?page=3');
    assert.equal((await names(page)).length, 345);
    await page.getByRole('searchbox').fill('f99');
    await page.getByText('11 files with “f99”').waitFor();
    assert.equal(await page.getByRole('navigation').count(), 0);
    await page.getByRole('searchbox').fill('');
    await page.getByText('1–1,000 of 2,345').waitFor();
    await page.getByRole('link', { name: 'Last' }).click();
    await page.waitForURL('**/many/?page=3');
    assert.equal((await page.goto(`${site}many/?page=4`)).status(), 404);
  },

  async previews(open) {
    const page = await open();
    const dialog = page.getByRole('dialog');
    const shown = () => dialog.locator('pre').textContent();
    await page.getByRole('button', { name: 'Preview README' }).click();
    await dialog.getByText('18 B').waitFor();
    assert.equal(await shown(), '<b>bold</b> café\n');
    assert.equal(await dialog.locator('b').count(), 0);
    await dialog.getByRole('button', { name: 'Next' }).click();
    await dialog.getByRole('heading', { name: '<img src=x' }).waitFor();
    await dialog.getByText('7 B').waitFor();
    assert.equal(await shown(), 'hostile');
    const range = page.waitForRequest((request) => request.url().endsWith('/large.txt'));
    await dialog.getByRole('button', { name: 'Next' }).click();
    assert.equal((await range).headers().range, 'bytes=0-65535');
    await dialog.getByText('The first 64 KiB of 195.3 KiB').waitFor();
    assert.equal((await shown()).length, 65536);
    await page.keyboard.press('ArrowRight');
    await dialog.getByRole('heading', { name: 'README' }).waitFor();
    await dialog.getByRole('button', { name: 'Close' }).press('Enter');
    await dialog.waitFor({ state: 'hidden' });
    assert.equal(await page.getByRole('button', { name: /Preview (docs|program)/ }).count(), 0);
    await page.goto(`${site}photos/`);
    await page.getByRole('button', { name: 'Preview two.svg' }).click();
    await dialog.getByText('120 × 80').waitFor();
    assert.equal(await dialog.getByRole('img', { name: 'two.svg' }).count(), 1);
    await page.mouse.click(5, 5);
    await dialog.waitFor({ state: 'hidden' });
    // The event comes after the dialog has gone.
    await page.locator('#content > *').waitFor({ state: 'detached' });
    // What is gone is said to be.
    await page.route('**/one.svg', (route) => route.fulfill({ status: 404 }));
    await page.getByRole('button', { name: 'Preview one.svg' }).click();
    await dialog.getByText('It cannot be shown').waitFor();
    return ['404'];
  },

  async keyboard(open) {
    const page = await open();
    const { keyboard } = page;
    await keyboard.press('ArrowDown');
    assert.equal(await focused(page), 'docs/');
    await keyboard.press('ArrowDown');
    assert.equal(await focused(page), 'many/');
    await keyboard.press('End');
    assert.equal(await focused(page), 'README');
    await keyboard.press('ArrowDown');
    assert.equal(await focused(page), 'README');
    await keyboard.press('ArrowUp');
    assert.equal(await focused(page), 'program.bin');
    await keyboard.press('ArrowDown');
    await keyboard.press('Space');
    await page.getByRole('dialog').getByText('18 B').waitFor();
    await keyboard.press('ArrowLeft');
    await page.getByRole('dialog').getByText('64 KiB').waitFor();
    await keyboard.press('Escape');
    await page.getByRole('dialog').waitFor({ state: 'hidden' });
    // The focus goes back by an event that comes after it is closed.
    await page.waitForFunction((name) => document.activeElement.textContent === name, 'large.txt');
    await keyboard.press('Home');
    assert.equal(await focused(page), 'docs/');
    await keyboard.press('/');
    await keyboard.type('pho/');
    assert.equal(await page.getByRole('searchbox').inputValue(), 'pho/');
    await keyboard.press('Backspace');
    await page.getByText('1 folder with “pho”').waitFor();
    await keyboard.press('ArrowDown');
    assert.equal(await focused(page), 'photos/');
    await keyboard.press('ArrowUp');
    assert.equal(await page.locator('#q:focus').count(), 1);
    // One name is left, and Enter opens it.
    await keyboard.press('Enter');
    await page.waitForURL('**/photos/');
    assert.equal(await page.locator('#list tbody tr').count(), 3);
    await keyboard.press('ArrowDown');
    assert.equal(await focused(page), '../');
    await keyboard.press('/');
    await keyboard.type('svg');
    await keyboard.press('Enter');
    await page.getByText('2 files with “svg”').waitFor();
    await page.waitForFunction(() => document.activeElement.textContent === 'one.svg');
    await keyboard.press('Enter');
    await page.waitForURL('**/photos/one.svg');
    // Tab comes by everything, in the order of the page.
    await page.goto(`${site}docs/`);
    const order = [];
    for (let step = 0; step < 8; step += 1) {
      await keyboard.press('Tab');
      order.push(await page.evaluate(() => {
        const { id, textContent } = document.activeElement;
        return id || textContent;
      }));
    }
    assert.deepEqual(order, ['/', 'q', 'Filter', 'Name', 'Size', 'Modified (UTC)', '../', 'deep/']);
    // Keys with modifiers are the browser's.
    await keyboard.press('Control+ArrowDown');
    assert.equal(await focused(page), 'deep/');
  },

  async 'without script'(open) {
    const page = await open({ javaScriptEnabled: false });
    assert.equal(await page.locator('#keys').isVisible(), false);
    assert.equal(await page.locator('.peek').count(), 0);
    await page.getByRole('searchbox').fill('me');
    await page.getByRole('button', { name: 'Filter' }).click();
    await page.waitForURL('**/?q=me');
    assert.deepEqual(await names(page), ['README']);
    await page.getByRole('columnheader', { name: 'Modified' }).getByRole('link').click();
    await page.waitForURL('**/?sort=modified&order=desc&q=me');
    await page.getByRole('searchbox').fill('');
    await page.getByRole('searchbox').press('Enter');
    await page.waitForURL('**/?sort=modified&order=desc&q=');
    assert.equal((await names(page)).length, 7);
    await page.getByRole('link', { name: 'many' }).click();
    await page.getByRole('link', { name: 'Next' }).click();
    await page.getByRole('spinbutton').fill('3');
    await page.getByRole('button', { name: 'Go' }).click();
    await page.waitForURL('**/many/?page=3');
    await page.getByRole('link', { name: 'f2345' }).click();
  },

  async axe(open) {
    for (const colorScheme of ['light', 'dark']) {
      for (const width of [1280, 400]) {
        const page = await open({ colorScheme, viewport: { width, height: 800 } });
        const look = async (name) => {
          await page.evaluate(axe.source);
          const options = { resultTypes: ['violations'] };
          const { violations } = await page.evaluate((how) => globalThis.axe.run(how), options);
          const found = violations.map((it) => [it.id, ...it.nodes.map((node) => node.html)]);
          assert.deepEqual(found, [], `${name} ${colorScheme} ${width}`);
          const wide = await page.evaluate(() => document.documentElement.scrollWidth);
          assert.ok(wide <= width, `${name}: ${wide} of ${width} pixels`);
          const folder = process.env.UNDERPASS_SCREENSHOTS;
          const path = `${folder}/${name}-${colorScheme}-${width}.png`;
          if (folder) await page.screenshot({ path });
        };
        await look('root');
        await page.goto(`${site}?sort=size&order=desc&q=none`);
        await look('nothing');
        await page.goto(`${site}many/?page=2`);
        // Rows are alike, and axe takes its time for each.
        await page.evaluate(() => {
          for (const row of document.querySelectorAll('tr:nth-child(n + 9)')) row.remove();
        });
        await page.keyboard.press('ArrowDown');
        await look('many');
        await page.goto(site);
        await page.getByRole('button', { name: 'Preview README' }).click();
        await page.getByRole('dialog').getByText('18 B').waitFor();
        await look('text');
        await page.goto(`${site}photos/`);
        await page.getByRole('button', { name: 'Preview one.svg' }).click();
        await page.getByRole('dialog').getByText('120 × 80').waitFor();
        await look('image');
      }
    }
  },

  async policy(open) {
    const page = await open();
    const blocked = await page.evaluate(() => new Promise((resolve) => {
      const found = [];
      document.addEventListener('securitypolicyviolation', (event) => {
        found.push(event.effectiveDirective);
        if (found.length === 3) resolve(found);
      });
      const script = document.createElement('script');
      script.textContent = 'document.title = "hit"';
      const handler = document.createElement('p');
      handler.setAttribute('onclick', 'document.title = "hit"');
      const style = document.createElement('style');
      style.textContent = 'body { display: none }';
      document.body.append(script, handler, style);
      handler.click();
    }));
    assert.deepEqual(blocked.sort(), ['script-src-attr', 'script-src-elem', 'style-src-elem']);
    assert.match(await page.title(), /^Index of/);
    return ['Content Security Policy', 'Refused', 'violates'];
  },
};

require('./run').run(parts[part], site);
