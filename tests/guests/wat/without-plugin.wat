;; A component that exports `defects`, but not `plugin`.
(component
  (core module $m (func (export "f")))
  (core instance $i (instantiate $m))
  (func $f (canon lift (core func $i "f")))
  (instance $defects (export "create" (func $f)))
  (export "jackfield:connector/defects@0.1.0" (instance $defects)))
