{{ perennial.checked('products') }}
