'use strict';
// Runs a part of a script in Chromium; it fails if a page logs an error that is not expected.
const assert = require('node:assert/strict');
const { chromium } = require('playwright-core');

async function use(part, site) {
  const browser = await chromium.launch({
    executablePath: '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-quic', '--disable-background-networking', '--disable-gpu'],
  });
  const errors = [];
  const open = async (options) => {
    const context = await browser.newContext(options);
    context.setDefaultTimeout(60000);
    const page = await context.newPage();
    page.on('pageerror', (error) => errors.push(String(error)));
    page.on('console', (message) => message.type() === 'error' && errors.push(message.text()));
    page.on('dialog', (dialog) => errors.push(dialog.message()));
    await page.goto(site);
    return page;
  };
  const expected = (await part(open)) ?? [];
  await browser.close();
  const others = errors.filter((error) => !expected.some((word) => error.includes(word)));
  assert.deepEqual(others.filter((error) => !error.includes('404')), []);
  process.stdout.write('done\n');
}

exports.run = (part, site) => use(part, site).catch((error) => {
  console.error(error);
  process.exit(1);
});
