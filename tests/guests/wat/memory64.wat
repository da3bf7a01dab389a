;; A component with a memory that has 64-bit addresses.
(component
  (core module
    (memory i64 1)
    (func (export "run") (drop (i32.load (i64.const 0))))))
