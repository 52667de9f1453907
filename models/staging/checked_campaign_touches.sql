{%- call perennial.touched() %}
    -- Which keys to do again.
    {{ perennial.keys_of_changed_hours('campaign_touches', 'touch_id') }}
    -- A row is refused until its campaign is known.
    union
    select touch_id
    from {{ this }}
    where campaign_id in ({{ perennial.changes('checked_campaigns', 'campaign_id') }})
{%- endcall %}
{{ perennial.checked('campaign_touches', touched_by='touch_id') }}
