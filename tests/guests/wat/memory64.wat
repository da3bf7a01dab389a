;; A component with a memory whose addresses have 64 bits.
(component
  (core module
    (memory i64 1)
    (func (export "run") (drop (i32.load (i64.const 0))))))
