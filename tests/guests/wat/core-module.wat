;; A core module where a component belongs.
(module (func (export "create") (result i32) (i32.const 1)))
