;; A module whose start function is an endless loop.
(module (func $spin (loop $again (br $again))) (start $spin))
