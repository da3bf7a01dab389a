;; A component that imports an interface of the contract in a version that does not exist.
(component
  (import "jackfield:connector/log@0.9.0" (instance (export "log" (func (param "message" string))))))
