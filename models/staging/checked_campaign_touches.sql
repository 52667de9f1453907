{{ perennial.checked('campaign_touches') }}
