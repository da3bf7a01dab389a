// This file is empty. In a project for QuickJS, it defines objects that StarlingMonkey already has.
