;; A module with 1 MiB of memory. The tests instantiate it up to 200 times.
(module (memory 16))
