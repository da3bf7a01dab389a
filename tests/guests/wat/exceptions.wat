;; A component whose code throws and catches with WebAssembly's own exceptions.
(component
  (core module
    (tag $error (param i32))
    (func (export "run")
      (block $caught (result i32)
        (try_table (catch $error $caught) (throw $error (i32.const 1)))
        (unreachable))
      drop)))
