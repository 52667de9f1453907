{{ perennial.checked('experiments') }}
