// StarlingMonkey has the web platform: nothing is missing.
