;; A component whose code creates an object that needs the garbage collector of WebAssembly.
(component
  (core module
    (type $point (struct (field i32)))
    (func (export "run") (drop (struct.new $point (i32.const 1))))))
