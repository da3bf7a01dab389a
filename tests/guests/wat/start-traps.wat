;; A module whose start function traps.
(module (func $trap unreachable) (start $trap))
