{{ perennial.checked('coupons') }}
