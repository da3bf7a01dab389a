;; 1 MiB of memory. Alone it is nothing; 200 instances of it are.
(module (memory 16))
