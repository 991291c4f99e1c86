'use strict';
// Looks at a page in Chromium at several widths, light and dark, with all its parts open.
const assert = require('node:assert/strict');
const { chromium } = require('playwright-core');
const axe = require('axe-core');

const [address, folder] = process.argv.slice(2);

// Elements that leave the window, or hold more than they show. What is for readers of screens alone
// has one pixel.
const wide = () => [...document.querySelectorAll('body *')].filter((it) => {
  const unseen = it.closest('thead, caption');
  if (unseen && getComputedStyle(unseen).position === 'absolute') return false;
  const { left, right, width } = it.getBoundingClientRect();
  const isCut = it.clientWidth > 0 && it.scrollWidth > it.clientWidth + 1;
  return width > 0 && (left < -0.5 || right > document.documentElement.clientWidth + 0.5 || isCut);
}).map((it) => it.outerHTML.slice(0, 160));

// Words of a drawing that leave it, or lie upon each other.
const mixed = () => [...document.querySelectorAll('svg')].flatMap((svg) => {
  const around = svg.getBoundingClientRect();
  const words = [...svg.querySelectorAll('text')].map((it) => [it.textContent, it.getBoundingClientRect()]);
  const leave = words.filter(([, it]) => it.left < around.left || it.right > around.right
    || it.top < around.top || it.bottom > around.bottom);
  const meet = words.filter(([, a], at) => words.slice(at + 1).some(([, b]) => a.left < b.right
    && b.left < a.right && a.top + 2 < b.bottom && b.top + 2 < a.bottom));
  return [...leave, ...meet].map(([text]) => text);
});

async function look() {
  const executablePath = '/usr/bin/chromium';
  const browser = await chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-gpu'] });
  for (const colorScheme of ['light', 'dark']) {
    for (const width of [400, 800, 1280]) {
      const page = await browser.newPage({ colorScheme, viewport: { width, height: 900 } });
      await page.goto(address);
      const name = `${colorScheme}-${width}`;
      if (folder) await page.screenshot({ path: `${folder}/${name}-closed.png`, fullPage: true });
      await page.evaluate(() => document.querySelectorAll('details').forEach((it) => { it.open = true; }));
      assert.deepEqual(await page.evaluate(wide), [], name);
      assert.deepEqual(await page.evaluate(mixed), [], name);
      await page.evaluate(axe.source);
      const options = { resultTypes: ['violations'] };
      const { violations } = await page.evaluate((how) => globalThis.axe.run(how), options);
      const found = violations.map((it) => [it.id, ...it.nodes.slice(0, 3).map((node) => node.html)]);
      assert.deepEqual(found, [], name);
      if (folder) await page.screenshot({ path: `${folder}/${name}-open.png`, fullPage: true });
      await page.close();
    }
  }
  await browser.close();
  process.stdout.write('done\n');
}

look().catch((error) => {
  console.error(error);
  process.exit(1);
});
