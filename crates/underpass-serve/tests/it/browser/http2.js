'use strict';
// Opens a listing over TLS and its preview of an image. Arguments: the address of the site.
const assert = require('node:assert/strict');

const [site] = process.argv.slice(2);

async function browse(open) {
  const page = await open({ ignoreHTTPSErrors: true });
  await page.getByRole('button', { name: 'Preview one.svg' }).click();
  await page.getByRole('dialog').getByText('120 × 80').waitFor();
  const protocols = await page.evaluate(() => ['navigation', 'resource']
    .flatMap((type) => performance.getEntriesByType(type))
    .map((entry) => entry.nextHopProtocol));
  assert.ok(protocols.length > 1, 'the image is one of them');
  assert.deepEqual([...new Set(protocols)], ['h2']);
}

require('./run').run(browse, site);
