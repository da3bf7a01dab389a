;; A component with a continuation type.
(component
  (core module
    (type $f (func))
    (type $c (cont $f))
    (func (export "run") (param (ref $c)) (drop (local.get 0)))))
