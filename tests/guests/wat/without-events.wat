;; A component that exports `plugin`, but neither `defects` nor `kpis`.
(component
  (core module $m (func (export "f")))
  (core instance $i (instantiate $m))
  (func $f (canon lift (core func $i "f")))
  (instance $plugin
    (export "describe" (func $f)) (export "check" (func $f)) (export "choices" (func $f)))
  (export "jackfield:connector/plugin@0.1.0" (instance $plugin)))
