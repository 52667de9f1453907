{{ perennial.checked('coupon_grants') }}
