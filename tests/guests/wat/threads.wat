;; A component with a memory that threads can share. Its code contains an atomic instruction.
(component
  (core module
    (memory 1 1 shared)
    (func (export "run") (drop (i32.atomic.rmw.add (i32.const 0) (i32.const 1))))))
