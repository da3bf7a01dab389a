;; A component whose code has objects that the engine's garbage collector would manage.
(component
  (core module
    (type $point (struct (field i32)))
    (func (export "run") (drop (struct.new $point (i32.const 1))))))
