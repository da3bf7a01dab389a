;; A component with an asynchronous export. Some toolchains build such a component by default.
(component
  (core module $m
    (func (export "run") (result i32) (i32.const 0))
    (func (export "callback") (param i32 i32 i32) (result i32) (i32.const 0)))
  (core instance $i (instantiate $m))
  (func $run async (canon lift (core func $i "run") async (callback (core func $i "callback"))))
  (export "run" (func $run)))
