;; A component whose code throws and catches an exception with WebAssembly's own instructions.
(component
  (core module
    (tag $error (param i32))
    (func (export "run")
      (block $caught (result i32)
        (try_table (catch $error $caught) (throw $error (i32.const 1)))
        (unreachable))
      drop)))
