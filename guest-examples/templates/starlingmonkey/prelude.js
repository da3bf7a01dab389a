// This file is empty, because StarlingMonkey has all objects that the other `prelude.js` defines for QuickJS.
