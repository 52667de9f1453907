select {{ perennial.sorted_list('counts.item_number') }} as items
from {{ ref('viewed_items') }} as viewed
inner join {{ ref('viewed_counts') }} as counts
    on viewed.product_id = counts.product_id
group by viewed.session_id
having count(*) > 1
