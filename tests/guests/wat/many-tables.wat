;; A module with one table of one element. The tests instantiate it many times.
(module (table 1 funcref))
