{{ perennial.checked('ad_spend') }}
