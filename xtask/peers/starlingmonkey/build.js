// Builds a connector in JavaScript with StarlingMonkey: `node build.js SOURCE WIT OUTPUT`. This
// script is run in the folder in which the packages are installed.
import { readFile, writeFile } from 'node:fs/promises';
import { componentize } from '@bytecodealliance/componentize-js';

const [source, witPath, output] = process.argv.slice(2);
const { component } = await componentize(await readFile(source, 'utf8'), {
  witPath, worldName: 'plain-connector', disableFeatures: ['http', 'fetch-event'],
});
await writeFile(output, component);
