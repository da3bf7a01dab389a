;; A module whose start function grows a table without end.
(module
  (table $t 1 funcref)
  (func $grow
    (loop $again
      (br_if $again (i32.ne (table.grow $t (ref.null func) (i32.const 100000)) (i32.const -1)))
      unreachable))
  (start $grow))
