;; A core module, not a component.
(module (func (export "create") (result i32) (i32.const 1)))
