;; A component that imports a version of the contract that does not exist.
(component
  (import "jackfield:connector/log@0.9.0" (instance (export "log" (func (param "message" string))))))
