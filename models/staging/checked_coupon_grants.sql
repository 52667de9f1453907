{%- call perennial.touched() %}
    -- Which keys to do again.
    {{ perennial.keys_of_changed_hours('coupon_grants', 'grant_id') }}
    -- A row is refused until its coupon is known.
    union
    select grant_id
    from {{ this }}
    where coupon_code in ({{ perennial.changes('checked_coupons', 'coupon_code') }})
{%- endcall %}
{{ perennial.checked('coupon_grants', touched_by='grant_id') }}
